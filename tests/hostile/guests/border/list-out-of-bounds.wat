;; Hands in a list of arguments that lies behind its memory.
;; expect: ends out of bounds
(func (export "step#run") (param i32 i32) (result i32)
  (drop (call $spec.argv (i32.const 131064) (i32.const 1000))) (call $done))
