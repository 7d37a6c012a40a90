;; Names a way over another server.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends expected
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "@elsewhere.example:ann@example.org") (text "hello"))))
