;; Ends the line of the subject and begins a header.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends on one line
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "ann@example.org") (text "hello\0d\0aBcc: eve@elsewhere.example"))))
