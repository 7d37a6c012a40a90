;; Appends while a configuration is only checked.
;; kind: reporter
;; call: check
;; grants: files = ["*"]
;; expect: ends report-files.append-line, which is not allowed here
(func (export "reporter#check") (param i32 i32) (result i32)
  (call $files.append (text "reports/a") (text "x") (i32.const 256)) (i32.const 128))
