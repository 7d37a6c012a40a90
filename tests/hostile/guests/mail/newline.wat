;; Ends the line of the recipients and begins another.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends on one line
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "ann@example.org\0d\0aBcc: eve@elsewhere.example") (text "hello"))))
