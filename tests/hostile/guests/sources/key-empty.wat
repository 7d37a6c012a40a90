;; Finds a change without a key, so that it would be found for ever.
;; kind: change-source
;; expect: ends dedup-key
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 144) (i32.const 70000)) (i32.store (i32.const 148) (i32.const 1))
  (i32.const 128))
