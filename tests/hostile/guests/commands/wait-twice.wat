;; Waits for one command twice and kills it when it has ended.
;; grants: commands = ["make"]
;; leaves: command make x
;; expect: answers Success
(func (export "step#run") (param i32 i32) (result i32)
  (local $command i32)
  (local.set $command (call $start (call $argv (text "make") (text "x"))))
  (call $command.wait (local.get $command) (i32.const 256))
  (call $command.kill (local.get $command) (text "too late"))
  (call $command.wait (local.get $command) (i32.const 256))
  (call $done))
