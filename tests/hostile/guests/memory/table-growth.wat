;; Grows a table without end: its elements live in the host's memory.
;; expect: ends more than 100000 table elements
(table $bomb 1 funcref)
(func (export "step#run") (param i32 i32) (result i32)
  (loop $again (drop (table.grow $bomb (ref.null func) (i32.const 1000))) (br $again)) unreachable)
