;; Uses the handle 0, which no resource ever has.
;; expect: ends unknown handle index
(func (export "step#run") (param i32 i32) (result i32)
  (call $commands.run (i32.const 0) (i32.const 256)) (call $done))
