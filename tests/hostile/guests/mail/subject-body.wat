;; Ends all headers within the subject.
;; kind: reporter
;; grants: mail = ["*@example.org"]
;; expect: ends on one line
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $send (call $message (text "ann@example.org") (text "hello\0a\0aClick here"))))
