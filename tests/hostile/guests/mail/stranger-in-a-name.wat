;; Writes to a stranger whose name looks like a granted address.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends may not use mail
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "ann@example.org <eve@elsewhere.example>") (text "hello"))))
