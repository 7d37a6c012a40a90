;; Waits for the first of no commands.
;; grants: commands = ["*"]
;; expect: ends waits for 0 commands
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (drop (call $commands.wait-any (i32.const 512) (i32.const 0))) (call $done))
