;; Grows its memory page by page without end.
;; expect: ends more than its memory limit of 64 MiB
(func (export "step#run") (param i32 i32) (result i32)
  (loop $again (drop (memory.grow (i32.const 1))) (br $again)) unreachable)
