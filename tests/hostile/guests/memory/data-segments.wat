;; A data segment that lies outside its memory.
;; expect: ends outside its memory
(data (i32.const 131070) "over the edge")
