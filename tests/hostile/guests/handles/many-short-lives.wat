;; Makes and gives back specifications without end: the room of each must be there again.
;; expect: ends it ran for more than 300 ms
(func (export "step#run") (param i32 i32) (result i32)
  (loop $again
    (call $spec.drop (call $argv (text "make") (text "all")))
    (br $again))
  unreachable)
