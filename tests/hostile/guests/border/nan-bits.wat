;; Makes numbers that are none in every spelling, and asks whether the machine lets them through.
;; expect: answers
(func (export "step#run") (param i32 i32) (result i32)
  (if (i64.ne (i64.reinterpret_f64 (f64.add (f64.reinterpret_i64 (i64.const 0xfff4deadbeef1234)) (f64.const 1)))
      (i64.const 0x7ff8000000000000))
    (then (return (call $fail (text "a number that is none came out of the sum as it went in")))))
  (call $done))
