;; Answers with a cursor of a hundred megabytes, most of which it does not have.
;; kind: change-source
;; call: migrate
;; expect: ends out of bounds
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 132) (i32.const 0)) (i32.store (i32.const 136) (i32.const 100000000))
  (i32.const 128))
