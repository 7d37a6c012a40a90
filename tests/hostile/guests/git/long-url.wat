;; A repository of a hundred thousand bytes.
;; kind: change-source
;; grants: git = ["*"]
;; expect: ends longer than
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 4)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 100000))
  (call $fetch (i32.const 131072) (i32.const 100000)))
