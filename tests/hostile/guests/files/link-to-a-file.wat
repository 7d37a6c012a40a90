;; A link among the reports leads to a file outside.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends failed to append
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "reports/file-out") (text "escaped")))
