;; An argument of two megabytes.
;; grants: commands = ["*"]
;; expect: ends a command of at most
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (drop (memory.grow (i32.const 40)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 2000000))
  (call $run (call $argv (text "make") (i32.const 131072) (i32.const 2000000))))
