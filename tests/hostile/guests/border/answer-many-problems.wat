;; Answers a check with a hundred thousand problems.
;; call: check
;; expect: ends invalid parameters
(func (export "step#check") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 100)))
  (i32.store8 (i32.const 16) (i32.const 1))
  (i32.store8 (i32.const 20) (i32.const 0))
  (i32.store (i32.const 24) (i32.const 131072))
  (i32.store (i32.const 28) (i32.const 100000))
  (i32.const 16))
