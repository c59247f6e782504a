package android.graphics;

public class BitmapFactory {
  public static class Options {
    public boolean inScaled;
    public boolean inPremultiplied;
    public Bitmap.Config inPreferredConfig;
  }

  public static Bitmap decodeByteArray(byte[] data, int offset, int length, Options options) { return null; }
}
