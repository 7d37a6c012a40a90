;; Hands in a list whose length, multiplied by the size of an element, is small again in 32 bits.
;; expect: ends out of bounds
(func (export "step#run") (param i32 i32) (result i32)
  (drop (call $spec.argv (i32.const 512) (i32.const 0x20000001))) (call $done))
