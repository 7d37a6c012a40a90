;; Uses a specification as if it were a command.
;; expect: ends handle index
(func (export "step#run") (param i32 i32) (result i32)
  (call $command.wait (call $argv (text "make") (text "all")) (i32.const 256)) (call $done))
