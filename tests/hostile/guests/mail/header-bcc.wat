;; Adds a recipient as a header.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends not a plugin's to set
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (local $message i32)
  (local.set $message (call $message (text "ann@example.org") (text "hello")))
  (call $mail.add-header (local.get $message) (text "Bcc") (text "eve@elsewhere.example"))
  (call $send (local.get $message)))
