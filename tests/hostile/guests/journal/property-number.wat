;; A property that is a number beyond all numbers: it stays the text that it is.
;; expect: answers Success
(func (export "step#run") (param i32 i32) (result i32)
  (call $build.set-property (text "much") (text "1e999999999") (i32.const 256))
  (if (i32.load8_u (i32.const 256))
    (then (return (call $fail (i32.load (i32.const 260)) (i32.load (i32.const 264))))))
  (call $done))
