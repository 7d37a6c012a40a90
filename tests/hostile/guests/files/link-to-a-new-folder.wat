;; The same link, and a folder that would have to be made there.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends leads out of it
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "reports/folder-out/new/file") (text "escaped")))
