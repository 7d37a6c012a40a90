;; Has the granted server pass it on.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends expected
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "eve%elsewhere.example@example.org@") (text "hello"))))
