;; Answers neither with a good answer nor with an error.
;; expect: ends discriminant
(func (export "step#run") (param i32 i32) (result i32)
  (i32.store8 (i32.const 16) (i32.const 77)) (i32.const 16))
