;; Starts commands without end and forgets each at once. All want a log of the same name.
;; grants: commands = ["make"]
;; leaves: command make x
;; expect: ends more than 10000 journal rows
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (loop $again (call $command.drop (call $start (local.get $spec))) (br $again)) unreachable)
