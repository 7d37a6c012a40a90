;; Writes to two with one address, the second of them not granted.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends expected
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "ann@example.org, eve@elsewhere.example") (text "hello"))))
