;; Ends the whole message in the middle of an address, and begins the next command of the protocol.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends on one line
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "ann@example.org>\0d\0aRCPT TO:<eve@elsewhere.example") (text "hello"))))
