;; A folder whose name begins like the granted one.
;; kind: reporter
;; grants: files = ["reports/*"]
;; expect: ends may not use files
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "reports-of-others/a") (text "x")))
