;; Appends to a file by its absolute path.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends a path inside the farm's folder
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "/tmp/capstan-hostile-escaped") (text "escaped")))
