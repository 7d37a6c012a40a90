;; Hides the host of the recipient behind a quoted one.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends expected
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "\22ann@example.org\22@elsewhere.example") (text "hello"))))
