;; A header that ends and begins another.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends on one line
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (local $message i32)
  (local.set $message (call $message (text "ann@example.org") (text "hello")))
  (call $mail.add-header (local.get $message) (text "X-A") (text "b\0d\0aBcc: eve@elsewhere.example"))
  (call $send (local.get $message)))
