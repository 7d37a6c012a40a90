;; Waits for the first of a list that names one command twice.
;; grants: commands = ["make"]
;; leaves: command make x
;; expect: answers Success
(func (export "step#run") (param i32 i32) (result i32)
  (i32.store (i32.const 512) (call $start (call $argv (text "make") (text "x"))))
  (i32.store (i32.const 516) (i32.load (i32.const 512)))
  (i32.store (i32.const 520) (i32.load (i32.const 512)))
  (if (i32.gt_u (call $commands.wait-any (i32.const 516) (i32.const 2)) (i32.const 1)) (then unreachable))
  (call $done))
