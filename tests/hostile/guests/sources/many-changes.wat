;; Finds four hundred thousand changes that are all zeros.
;; kind: change-source
;; expect: ends fuel
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 980)))
  (i32.store (i32.const 144) (i32.const 131072)) (i32.store (i32.const 148) (i32.const 400000))
  (i32.const 128))
