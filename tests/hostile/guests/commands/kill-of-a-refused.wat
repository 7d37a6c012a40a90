;; Kills a command that was never started, because it was refused.
;; expect: ends unknown handle index
(func (export "step#run") (param i32 i32) (result i32)
  (call $command.kill (call $start (call $argv (text "make") (text "x"))) (text "never")) (call $done))
