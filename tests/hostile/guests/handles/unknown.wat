;; Uses a command that nobody has started.
;; expect: ends unknown handle index
(func (export "step#run") (param i32 i32) (result i32)
  (call $command.wait (i32.const 77) (i32.const 256)) (call $done))
