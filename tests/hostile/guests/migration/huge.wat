;; Answers with a state of two megabytes.
;; kind: scheduler
;; call: migrate
;; expect: ends the translated state: expected at most 1048576
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 40)))
  (i32.store (i32.const 132) (i32.const 131072)) (i32.store (i32.const 136) (i32.const 2000000))
  (i32.const 128))
