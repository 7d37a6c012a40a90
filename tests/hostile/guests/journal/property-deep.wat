;; A property that is a list in a list, a hundred thousand deep.
;; expect: ends recursion limit
(func (export "step#run") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 4)))
  (memory.fill (i32.const 131072) (i32.const 91) (i32.const 100000))
  (call $build.set-property (text "deep") (i32.const 131072) (i32.const 100000) (i32.const 256))
  (if (i32.load8_u (i32.const 256))
    (then (return (call $fail (i32.load (i32.const 260)) (i32.load (i32.const 264))))))
  (call $done))
