;; Made for a version before the first.
;; expect: refused newer SDK
(component (import "capstan:plugin/log@0.0.1" (instance)) )
