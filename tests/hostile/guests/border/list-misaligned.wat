;; Hands in a list at an odd address.
;; expect: ends not aligned
(func (export "step#run") (param i32 i32) (result i32)
  (drop (call $spec.argv (i32.const 513) (i32.const 1))) (call $done))
