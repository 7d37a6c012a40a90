;; Says how the body is to be read.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends not a plugin's to set
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (local $message i32)
  (local.set $message (call $message (text "ann@example.org") (text "hello")))
  (call $mail.add-header (local.get $message) (text "Content-Type") (text "multipart/mixed; boundary=x"))
  (call $send (local.get $message)))
