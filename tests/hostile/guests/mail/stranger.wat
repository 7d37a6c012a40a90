;; Writes to an address that nobody granted.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends may not use mail
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "ann@elsewhere.example") (text "hello"))))
