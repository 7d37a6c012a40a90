;; Asks for ever for what costs no row of the journal.
;; expect: ends it ran for more than 300 ms
(func (export "step#run") (param i32 i32) (result i32)
  (loop $again (drop (call $entropy.seed)) (br $again)) unreachable)
