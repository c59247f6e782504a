package modelport.sample;

public final class R {
  public static final class string {
    public static final int pick = 1, loading = 2, ready = 3, working = 4, found = 5, failed = 6;
  }
}
