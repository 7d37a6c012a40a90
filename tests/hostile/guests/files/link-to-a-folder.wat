;; A link among the reports leads to a folder outside.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends leads out of it
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "reports/folder-out/file") (text "escaped")))
