;; A path with an empty name in it.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends a path inside the farm's folder
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "reports//file") (text "escaped")))
