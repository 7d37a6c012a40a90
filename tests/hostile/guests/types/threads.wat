;; A module whose memory is shared between threads.
;; expect: refused threads
(memory $shared 1 1 shared)
