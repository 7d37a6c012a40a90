;; A name that no file system takes.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends failed to append
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (memory.fill (i32.const 70000) (i32.const 97) (i32.const 1000))
  (call $append (i32.const 70000) (i32.const 1000) (text "x")))
