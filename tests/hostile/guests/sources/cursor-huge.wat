;; A cursor of two megabytes.
;; kind: change-source
;; expect: ends cursor: expected at most
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 40)))
  (i32.store (i32.const 136) (i32.const 131072)) (i32.store (i32.const 140) (i32.const 2000000))
  (i32.const 128))
